"""open_inference.proto → its stubs; `python -m service.pb` writes them."""
