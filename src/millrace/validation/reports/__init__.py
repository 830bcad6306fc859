"""Results as pages, and as continuous integration reads them."""
