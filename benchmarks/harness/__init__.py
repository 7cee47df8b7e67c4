"""Builds the parts, runs them in turn, and writes down what came out."""
