"""Networks: small ones, the model zoo, weights, freezing, feature cuts."""
