"""PNASNet-5 and NASNet-A image features, equal to TF-Slim's, without TensorFlow."""
