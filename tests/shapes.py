"""functions with annotated shapes → the same functions, checked at every call.

`make test` names this to jaxtyping's pytest option; an int may stand for a float.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
