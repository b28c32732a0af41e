"""Open Inference Protocol v2, with Triton's extensions of it that clients use: REST and gRPC.

https://github.com/kserve/open-inference-protocol and
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""
