"""Fit, evaluate and package a model."""
