"""Turns a plan into a torch network, an ONNX graph, a Keras model, and files for other software."""
