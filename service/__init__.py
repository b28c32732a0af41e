"""request → response: the serving side of Attendant. Imports neither torch nor onnx."""
