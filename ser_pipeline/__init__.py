"""Speech emotion recognition with a trained model, in three calls.

    model = ser_pipeline.load("model")                  # or hf:OWNER/NAME@REVISION
    heard = ser_pipeline.predict(model, "talk.wav")     # the whole, and over time
    for opinion in ser_pipeline.stream(model, blocks):  # 16-bit PCM, an opinion a second
        print(opinion.label)

This folder is all that the wheel puts into site-packages: the library lies below it there, under a
name of its own, since `pipeline` is many people's module. Nothing heavy is imported before a call.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.inference.api import Heard, Model, Opinion, load, predict, stream

__all__ = ["Heard", "Model", "Opinion", "load", "predict", "stream"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"ser_pipeline has no {name}, but {', '.join(__all__)}")
    from pipeline.inference import api

    return getattr(api, name)
