"""servers with the same models, one after another under the same load → docs/peers.md."""
