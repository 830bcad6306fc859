"""Answer predictions: bundle, predictor, prediction log, HTTP app."""
