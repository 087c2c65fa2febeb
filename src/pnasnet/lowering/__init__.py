"""What a plan becomes: a torch network, an ONNX graph, and the files that other software opens."""
