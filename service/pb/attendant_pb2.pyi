from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyAudioRequest(_message.Message):
    __slots__ = ("model", "explain", "audio", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    audio: bytes
    top_k: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., audio: _Optional[bytes] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyAudioResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "labels", "start_s")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    labels: _containers.RepeatedCompositeFieldContainer[ClassifyAudioResponse.Label]
    start_s: float
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[ClassifyAudioResponse.Label, _Mapping]]] = ..., start_s: _Optional[float] = ...) -> None: ...

class TranscribeRequest(_message.Message):
    __slots__ = ("model", "explain", "audio", "language", "task", "timestamps", "words", "prompt", "temperature")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    audio: bytes
    language: str
    task: str
    timestamps: bool
    words: bool
    prompt: str
    temperature: float
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., audio: _Optional[bytes] = ..., language: _Optional[str] = ..., task: _Optional[str] = ..., timestamps: _Optional[bool] = ..., words: _Optional[bool] = ..., prompt: _Optional[str] = ..., temperature: _Optional[float] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "text", "language", "duration_s", "segments")
    class Segment(_message.Message):
        __slots__ = ("start_s", "end_s", "text", "tokens", "avg_logprob", "no_speech_prob", "compression_ratio", "temperature", "words")
        START_S_FIELD_NUMBER: _ClassVar[int]
        END_S_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        TOKENS_FIELD_NUMBER: _ClassVar[int]
        AVG_LOGPROB_FIELD_NUMBER: _ClassVar[int]
        NO_SPEECH_PROB_FIELD_NUMBER: _ClassVar[int]
        COMPRESSION_RATIO_FIELD_NUMBER: _ClassVar[int]
        TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
        WORDS_FIELD_NUMBER: _ClassVar[int]
        start_s: float
        end_s: float
        text: str
        tokens: _containers.RepeatedScalarFieldContainer[int]
        avg_logprob: float
        no_speech_prob: float
        compression_ratio: float
        temperature: float
        words: _containers.RepeatedCompositeFieldContainer[TranscribeResponse.Word]
        def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., text: _Optional[str] = ..., tokens: _Optional[_Iterable[int]] = ..., avg_logprob: _Optional[float] = ..., no_speech_prob: _Optional[float] = ..., compression_ratio: _Optional[float] = ..., temperature: _Optional[float] = ..., words: _Optional[_Iterable[_Union[TranscribeResponse.Word, _Mapping]]] = ...) -> None: ...
    class Word(_message.Message):
        __slots__ = ("start_s", "end_s", "text")
        START_S_FIELD_NUMBER: _ClassVar[int]
        END_S_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        start_s: float
        end_s: float
        text: str
        def __init__(self, start_s: _Optional[float] = ..., end_s: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    text: str
    language: str
    duration_s: float
    segments: _containers.RepeatedCompositeFieldContainer[TranscribeResponse.Segment]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., duration_s: _Optional[float] = ..., segments: _Optional[_Iterable[_Union[TranscribeResponse.Segment, _Mapping]]] = ...) -> None: ...

class TranscribeEvent(_message.Message):
    __slots__ = ("partial", "answer")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    answer: TranscribeResponse
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., answer: _Optional[_Union[TranscribeResponse, _Mapping]] = ...) -> None: ...

class ClassifyGraphRequest(_message.Message):
    __slots__ = ("model", "explain", "graph", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    graph: Graph
    top_k: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., graph: _Optional[_Union[Graph, _Mapping]] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyGraphResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "labels")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    labels: _containers.RepeatedCompositeFieldContainer[ClassifyGraphResponse.Label]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[ClassifyGraphResponse.Label, _Mapping]]] = ...) -> None: ...

class ClassifyImageRequest(_message.Message):
    __slots__ = ("model", "explain", "image", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    image: bytes
    top_k: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., image: _Optional[bytes] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyImageResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "labels")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    labels: _containers.RepeatedCompositeFieldContainer[ClassifyImageResponse.Label]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[ClassifyImageResponse.Label, _Mapping]]] = ...) -> None: ...

class ClassifyNodesRequest(_message.Message):
    __slots__ = ("model", "explain", "graph")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    graph: Graph
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., graph: _Optional[_Union[Graph, _Mapping]] = ...) -> None: ...

class ClassifyNodesResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "nodes")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    nodes: _containers.RepeatedCompositeFieldContainer[ClassifyNodesResponse.Label]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[ClassifyNodesResponse.Label, _Mapping]]] = ...) -> None: ...

class DetectObjectsRequest(_message.Message):
    __slots__ = ("model", "explain", "image", "threshold", "max_detections")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    image: bytes
    threshold: float
    max_detections: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., image: _Optional[bytes] = ..., threshold: _Optional[float] = ..., max_detections: _Optional[int] = ...) -> None: ...

class DetectObjectsResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "detections")
    class Detection(_message.Message):
        __slots__ = ("label", "score", "box")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        BOX_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        box: DetectObjectsResponse.Box
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ..., box: _Optional[_Union[DetectObjectsResponse.Box, _Mapping]] = ...) -> None: ...
    class Box(_message.Message):
        __slots__ = ("xmin", "ymin", "xmax", "ymax")
        XMIN_FIELD_NUMBER: _ClassVar[int]
        YMIN_FIELD_NUMBER: _ClassVar[int]
        XMAX_FIELD_NUMBER: _ClassVar[int]
        YMAX_FIELD_NUMBER: _ClassVar[int]
        xmin: int
        ymin: int
        xmax: int
        ymax: int
        def __init__(self, xmin: _Optional[int] = ..., ymin: _Optional[int] = ..., xmax: _Optional[int] = ..., ymax: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    detections: _containers.RepeatedCompositeFieldContainer[DetectObjectsResponse.Detection]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., detections: _Optional[_Iterable[_Union[DetectObjectsResponse.Detection, _Mapping]]] = ...) -> None: ...

class TranslateRequest(_message.Message):
    __slots__ = ("model", "explain", "text", "source", "target", "beam_size", "max_new_tokens", "length_penalty", "alternatives")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    text: _containers.RepeatedScalarFieldContainer[str]
    source: str
    target: str
    beam_size: int
    max_new_tokens: int
    length_penalty: float
    alternatives: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., text: _Optional[_Iterable[str]] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., beam_size: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., length_penalty: _Optional[float] = ..., alternatives: _Optional[int] = ...) -> None: ...

class TranslateResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "translations")
    class Translation(_message.Message):
        __slots__ = ("text", "score", "tokens", "alternatives")
        TEXT_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        TOKENS_FIELD_NUMBER: _ClassVar[int]
        ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
        text: str
        score: float
        tokens: int
        alternatives: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ..., tokens: _Optional[int] = ..., alternatives: _Optional[_Iterable[str]] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    translations: _containers.RepeatedCompositeFieldContainer[TranslateResponse.Translation]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., translations: _Optional[_Iterable[_Union[TranslateResponse.Translation, _Mapping]]] = ...) -> None: ...

class TranslateEvent(_message.Message):
    __slots__ = ("partial", "answer")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    answer: TranslateResponse
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., answer: _Optional[_Union[TranslateResponse, _Mapping]] = ...) -> None: ...

class GenerateImageRequest(_message.Message):
    __slots__ = ("model", "explain", "label", "count", "seed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    explain: bool
    label: str
    count: int
    seed: int
    def __init__(self, model: _Optional[str] = ..., explain: _Optional[bool] = ..., label: _Optional[str] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateImageResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "attention", "pictures", "seed")
    class Picture(_message.Message):
        __slots__ = ("image", "label")
        IMAGE_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        image: bytes
        label: str
        def __init__(self, image: _Optional[bytes] = ..., label: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    attention: _containers.RepeatedCompositeFieldContainer[AttentionMap]
    pictures: _containers.RepeatedCompositeFieldContainer[GenerateImageResponse.Picture]
    seed: int
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., attention: _Optional[_Iterable[_Union[AttentionMap, _Mapping]]] = ..., pictures: _Optional[_Iterable[_Union[GenerateImageResponse.Picture, _Mapping]]] = ..., seed: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "memory_bytes", "budget_bytes")
    class Model(_message.Message):
        __slots__ = ("name", "version", "task", "is_current", "is_default", "state", "reason", "memory_bytes", "card")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        TASK_FIELD_NUMBER: _ClassVar[int]
        IS_CURRENT_FIELD_NUMBER: _ClassVar[int]
        IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
        CARD_FIELD_NUMBER: _ClassVar[int]
        name: str
        version: str
        task: str
        is_current: bool
        is_default: bool
        state: str
        reason: str
        memory_bytes: int
        card: ListModelsResponse.Card
        def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., task: _Optional[str] = ..., is_current: _Optional[bool] = ..., is_default: _Optional[bool] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., card: _Optional[_Union[ListModelsResponse.Card, _Mapping]] = ...) -> None: ...
    class Card(_message.Message):
        __slots__ = ("architecture", "source", "licence", "revision", "target", "metrics")
        ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        LICENCE_FIELD_NUMBER: _ClassVar[int]
        REVISION_FIELD_NUMBER: _ClassVar[int]
        TARGET_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        architecture: str
        source: str
        licence: str
        revision: str
        target: str
        metrics: _containers.RepeatedCompositeFieldContainer[ListModelsResponse.Metric]
        def __init__(self, architecture: _Optional[str] = ..., source: _Optional[str] = ..., licence: _Optional[str] = ..., revision: _Optional[str] = ..., target: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[ListModelsResponse.Metric, _Mapping]]] = ...) -> None: ...
    class Metric(_message.Message):
        __slots__ = ("name", "value")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        name: str
        value: float
        def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ListModelsResponse.Model]
    memory_bytes: int
    budget_bytes: int
    def __init__(self, models: _Optional[_Iterable[_Union[ListModelsResponse.Model, _Mapping]]] = ..., memory_bytes: _Optional[int] = ..., budget_bytes: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("preprocess_ms", "queue_ms", "batch_wait_ms", "encode_ms", "decode_ms", "compute_ms", "postprocess_ms")
    PREPROCESS_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    BATCH_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MS_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_MS_FIELD_NUMBER: _ClassVar[int]
    preprocess_ms: float
    queue_ms: float
    batch_wait_ms: float
    encode_ms: float
    decode_ms: float
    compute_ms: float
    postprocess_ms: float
    def __init__(self, preprocess_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., batch_wait_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., compute_ms: _Optional[float] = ..., postprocess_ms: _Optional[float] = ...) -> None: ...

class AttentionMap(_message.Message):
    __slots__ = ("name", "index", "axes", "weights")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    axes: _containers.RepeatedCompositeFieldContainer[Axis]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., axes: _Optional[_Iterable[_Union[Axis, _Mapping]]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class Axis(_message.Message):
    __slots__ = ("name", "size", "labels", "begins_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BEGINS_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    begins_s: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., begins_s: _Optional[_Iterable[float]] = ...) -> None: ...

class LiveAudio(_message.Message):
    __slots__ = ("audio", "rate_hz", "language", "task", "model")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    rate_hz: int
    language: str
    task: str
    model: str
    def __init__(self, audio: _Optional[bytes] = ..., rate_hz: _Optional[int] = ..., language: _Optional[str] = ..., task: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class KeywordEvent(_message.Message):
    __slots__ = ("type", "label", "score", "start_s", "end_s")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    type: str
    label: str
    score: float
    start_s: float
    end_s: float
    def __init__(self, type: _Optional[str] = ..., label: _Optional[str] = ..., score: _Optional[float] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ...) -> None: ...

class Partial(_message.Message):
    __slots__ = ("index", "text", "replaces")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    index: int
    text: str
    replaces: bool
    def __init__(self, index: _Optional[int] = ..., text: _Optional[str] = ..., replaces: _Optional[bool] = ...) -> None: ...

class LiveEvent(_message.Message):
    __slots__ = ("type", "text", "tentative", "start_s", "end_s")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TENTATIVE_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    type: str
    text: str
    tentative: str
    start_s: float
    end_s: float
    def __init__(self, type: _Optional[str] = ..., text: _Optional[str] = ..., tentative: _Optional[str] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("nodes", "edges")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("features",)
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, features: _Optional[_Iterable[str]] = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("source", "target")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    source: int
    target: int
    def __init__(self, source: _Optional[int] = ..., target: _Optional[int] = ...) -> None: ...
