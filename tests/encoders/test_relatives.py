"""Relatives of HuBERT load by the switches of their published configs, and are transformers' own.

What a ``config.json`` fixes is written out; sizes alone are small. Configs are those of the hub as
they are known, not read from it here.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pipeline.encoders import encoder, forward, hub
from tests.encoders.test_hub import cache, published  # noqa: F401 - a fixture

# What published configs hold beside the switches, none of which takes part in the encoder.
COMMON: dict[str, Any] = {
    "activation_dropout": 0.1,
    "apply_spec_augment": True,
    "attention_dropout": 0.1,
    "bos_token_id": 1,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "ctc_loss_reduction": "sum",
    "eos_token_id": 2,
    "feat_extract_activation": "gelu",
    "final_dropout": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "mask_feature_length": 10,
    "mask_feature_prob": 0.0,
    "mask_time_prob": 0.05,
    "num_feat_extract_layers": 7,
    "pad_token_id": 0,
    "vocab_size": 32,
}
BASE: dict[str, Any] = {
    **COMMON,
    "conv_bias": False,
    "do_stable_layer_norm": False,
    "feat_extract_norm": "group",
}
LARGE: dict[str, Any] = {
    **COMMON,
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
}
HUBERT: dict[str, Any] = {"model_type": "hubert", "architectures": ["HubertModel"]}
RELATIVES: dict[str, dict[str, Any]] = {
    "ntu-spml/distilhubert": {
        **BASE,
        **HUBERT,
        "feat_proj_layer_norm": False,
        "feat_proj_dropout": 0.0,
        "num_hidden_layers": 2,
    },
    "facebook/hubert-xlarge-ll60k": {
        **LARGE,
        **HUBERT,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.1,
        "num_hidden_layers": 48,
    },
    "utter-project/mHuBERT-147": {
        **BASE,
        **HUBERT,
        "conv_pos_batch_norm": False,
        "feat_proj_layer_norm": True,
        "num_hidden_layers": 12,
    },
    "TencentGameMate/chinese-hubert-base": {
        **BASE,
        **HUBERT,
        "feat_proj_layer_norm": True,
        "num_hidden_layers": 12,
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
    },
    "TencentGameMate/chinese-hubert-large": {
        **LARGE,
        **HUBERT,
        "feat_proj_layer_norm": True,
        "num_hidden_layers": 24,
    },
    "rinna/japanese-hubert-base": {
        **BASE,
        **HUBERT,
        "feat_proj_layer_norm": True,
        "num_hidden_layers": 12,
    },
    "rinna/japanese-hubert-large": {
        **LARGE,
        **HUBERT,
        "feat_proj_layer_norm": True,
        "num_hidden_layers": 24,
    },
    "facebook/wav2vec2-xls-r-300m": {
        **LARGE,
        "model_type": "wav2vec2",
        "architectures": ["Wav2Vec2ForPreTraining"],
        "adapter_kernel_size": 3,
        "adapter_stride": 2,
        "add_adapter": False,
        "num_adapter_layers": 3,
        "num_codevector_groups": 2,
        "num_hidden_layers": 24,
        "output_hidden_size": 1024,
    },
}
SIZES: dict[str, Any] = {
    "conv_dim": [8] * 7,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 2,
    "num_conv_pos_embeddings": 16,
}


@pytest.mark.parametrize("name", RELATIVES)
def test_a_published_relative_gives_the_bits_of_transformers(
    name: str,
    cache: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    config = {**RELATIVES[name], **SIZES}
    pin, _ = published(cache, **config)
    # transformers reads the config as it was published, with all that is left out here.
    theirs = getattr(transformers, encoder.MODELS[config["model_type"]][1])
    peer = theirs.from_pretrained(cache).eval()
    found = hub.load("some", pin)
    assert len(found.encoder.layers) == RELATIVES[name]["num_hidden_layers"]
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(found, folder)
    wave = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    for model in (found, encoder.load(folder)):
        with torch.no_grad():
            layers, _ = forward.hidden(model, [wave], [-1, -3, "last"])
            ready = forward.prepare(model, wave)[None]
            expected = peer(ready, output_hidden_states=True)
        assert torch.equal(layers["last"], expected.last_hidden_state)
        for layer in (-1, -3):
            assert torch.equal(layers[layer], expected.hidden_states[layer])


def test_distilhubert_has_two_blocks_and_no_norm_in_its_projection(
    cache: Path,  # noqa: F811
) -> None:
    pin, _ = published(cache, **RELATIVES["ntu-spml/distilhubert"], **SIZES)
    found = hub.load("some", pin)
    assert json.loads((cache / "config.json").read_text("utf-8"))["feat_proj_layer_norm"] is False
    assert not [key for key in found.state_dict() if key.startswith("feature_projection.layer_")]
    assert len(found.encoder.layers) == 2
