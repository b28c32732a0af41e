from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyAudioRequest(_message.Message):
    __slots__ = ("audio", "top_k")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    top_k: int
    def __init__(self, audio: _Optional[bytes] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyAudioResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "labels", "start_s")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    labels: _containers.RepeatedCompositeFieldContainer[ClassifyAudioResponse.Label]
    start_s: float
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., labels: _Optional[_Iterable[_Union[ClassifyAudioResponse.Label, _Mapping]]] = ..., start_s: _Optional[float] = ...) -> None: ...

class TranscribeRequest(_message.Message):
    __slots__ = ("audio", "language", "task", "timestamps")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    language: str
    task: str
    timestamps: bool
    def __init__(self, audio: _Optional[bytes] = ..., language: _Optional[str] = ..., task: _Optional[str] = ..., timestamps: _Optional[bool] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "text", "language", "duration_s", "segments")
    class Segment(_message.Message):
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
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    text: str
    language: str
    duration_s: float
    segments: _containers.RepeatedCompositeFieldContainer[TranscribeResponse.Segment]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., duration_s: _Optional[float] = ..., segments: _Optional[_Iterable[_Union[TranscribeResponse.Segment, _Mapping]]] = ...) -> None: ...

class TranscribeEvent(_message.Message):
    __slots__ = ("partial", "answer")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    answer: TranscribeResponse
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., answer: _Optional[_Union[TranscribeResponse, _Mapping]] = ...) -> None: ...

class ClassifyImageRequest(_message.Message):
    __slots__ = ("image", "top_k")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    top_k: int
    def __init__(self, image: _Optional[bytes] = ..., top_k: _Optional[int] = ...) -> None: ...

class ClassifyImageResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "labels")
    class Label(_message.Message):
        __slots__ = ("label", "score")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        label: str
        score: float
        def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    labels: _containers.RepeatedCompositeFieldContainer[ClassifyImageResponse.Label]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., labels: _Optional[_Iterable[_Union[ClassifyImageResponse.Label, _Mapping]]] = ...) -> None: ...

class TranslateRequest(_message.Message):
    __slots__ = ("text", "source", "target", "beam_size", "max_new_tokens", "length_penalty", "alternatives")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    text: _containers.RepeatedScalarFieldContainer[str]
    source: str
    target: str
    beam_size: int
    max_new_tokens: int
    length_penalty: float
    alternatives: int
    def __init__(self, text: _Optional[_Iterable[str]] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., beam_size: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., length_penalty: _Optional[float] = ..., alternatives: _Optional[int] = ...) -> None: ...

class TranslateResponse(_message.Message):
    __slots__ = ("model", "timings_ms", "translations")
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
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    timings_ms: Timings
    translations: _containers.RepeatedCompositeFieldContainer[TranslateResponse.Translation]
    def __init__(self, model: _Optional[str] = ..., timings_ms: _Optional[_Union[Timings, _Mapping]] = ..., translations: _Optional[_Iterable[_Union[TranslateResponse.Translation, _Mapping]]] = ...) -> None: ...

class TranslateEvent(_message.Message):
    __slots__ = ("partial", "answer")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    answer: TranslateResponse
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., answer: _Optional[_Union[TranslateResponse, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("preprocess_ms", "queue_ms", "compute_ms", "postprocess_ms")
    PREPROCESS_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MS_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_MS_FIELD_NUMBER: _ClassVar[int]
    preprocess_ms: float
    queue_ms: float
    compute_ms: float
    postprocess_ms: float
    def __init__(self, preprocess_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., compute_ms: _Optional[float] = ..., postprocess_ms: _Optional[float] = ...) -> None: ...

class Partial(_message.Message):
    __slots__ = ("index", "text", "replaces")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    index: int
    text: str
    replaces: bool
    def __init__(self, index: _Optional[int] = ..., text: _Optional[str] = ..., replaces: _Optional[bool] = ...) -> None: ...
