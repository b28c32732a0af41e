"""kinds that are not Kubernetes' own → JSON schemas of the parts that deploy/kubernetes uses.

Fields as in KEDA 2 (npm: @kubernetes-models/keda 2.0.0, ScaledObjectSpec and what it refers to) and
KServe 0.21 (PyPI: kserve 0.21.0, kserve/models); what else these kinds have is left out, so that a
field that is new here has to be looked up.
"""

from typing import Any


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANY = {"type": "object"}


def _some(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


METADATA = _object(("name",), name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)


def _kind(group: str, name: str, **spec: Any) -> dict[str, Any]:
    top = ("apiVersion", "kind", "metadata", "spec")
    return _object(
        top, apiVersion={"const": group}, kind={"const": name}, metadata=METADATA, **spec
    )


SCHEMAS: dict[str, dict[str, Any]] = {
    "ScaledObject": _kind(
        "keda.sh/v1alpha1",
        "ScaledObject",
        spec=_object(
            ("scaleTargetRef", "triggers"),
            scaleTargetRef=_object(("name",), name=TEXT, kind=TEXT, apiVersion=TEXT),
            minReplicaCount=WHOLE,
            maxReplicaCount=WHOLE,
            pollingInterval=WHOLE,
            cooldownPeriod=WHOLE,
            fallback=_object(
                ("failureThreshold", "replicas"),
                failureThreshold=WHOLE,
                replicas=WHOLE,
                behavior={
                    "enum": [
                        "static",
                        "currentReplicas",
                        "currentReplicasIfHigher",
                        "currentReplicasIfLower",
                    ]
                },
            ),
            triggers=_some(
                _object(
                    ("type", "metadata"),
                    type={"const": "prometheus"},
                    metadata=_object(
                        ("serverAddress", "query", "threshold"),
                        serverAddress=TEXT,
                        query=TEXT,
                        threshold=TEXT,
                    ),
                )
            ),
        ),
    ),
    "ServingRuntime": _kind(
        "serving.kserve.io/v1alpha1",
        "ServingRuntime",
        spec=_object(
            ("containers",),
            annotations=TEXTS,
            supportedModelFormats=_some(
                _object(("name",), name=TEXT, version=TEXT, autoSelect=FLAG)
            ),
            protocolVersions=_some({"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}),
            containers=_some(ANY),
            volumes=_some(ANY),
        ),
    ),
    "InferenceService": _kind(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        spec=_object(
            ("predictor",),
            predictor=_object(
                ("model",),
                minReplicas=WHOLE,
                maxReplicas=WHOLE,
                terminationGracePeriodSeconds=WHOLE,
                automountServiceAccountToken=FLAG,
                enableServiceLinks=FLAG,
                model=_object(
                    ("modelFormat",),
                    runtime=TEXT,
                    modelFormat=_object(("name",), name=TEXT, version=TEXT),
                    protocolVersion={"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]},
                ),
                autoScaling=_object(
                    ("metrics",),
                    metrics=_some(
                        _object(
                            ("type", "external"),
                            type={"const": "External"},
                            external=_object(
                                ("metric", "target"),
                                metric=_object(
                                    backend={"const": "prometheus"},
                                    serverAddress=TEXT,
                                    query=TEXT,
                                ),
                                target=_object(type={"const": "AverageValue"}, averageValue=TEXT),
                            ),
                        )
                    ),
                ),
            ),
        ),
    ),
}
