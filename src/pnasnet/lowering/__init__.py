"""From a plan to a torch network, an ONNX graph, and files for other software."""
