"""Files and frames as backends: Polars, Parquet, CSV, Arrow and Python objects."""
