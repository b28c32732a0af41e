"""checkpoint → traced, lowered, checked and published model: where torch and onnx meet."""
