"""A student as others use it: a Hugging Face folder that needs no heat_sim, or an ONNX graph."""
