"""Heads: only valid frames count, whatever the batch."""

import torch
from torch import nn

from pipeline import heads

torch.manual_seed(0)
FRAMES = torch.randn(3, 9, 6)
LENGTHS = torch.tensor([9, 4, 1])


def test_mean_over_time_by_hand() -> None:
    expected = torch.stack([FRAMES[i, :n].mean(0) for i, n in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(heads.mean_over_time(FRAMES, LENGTHS), expected)


def test_padding_never_counts() -> None:
    poisoned = FRAMES.masked_fill(~heads.valid(LENGTHS, 9)[..., None], float("nan"))
    for head in (heads.Pool(6, 5), heads.BiLstm(6, 4, 5)):
        clean = head(FRAMES, LENGTHS)
        torch.testing.assert_close(head(poisoned.nan_to_num(99.0), LENGTHS), clean)
        for i, n in enumerate(LENGTHS.tolist()):
            alone = head(FRAMES[i : i + 1, :n], LENGTHS[i : i + 1])
            torch.testing.assert_close(alone[0], clean[i])


def test_pool_is_transformers_classification_head() -> None:
    """Project each frame, mean over valid frames, classify: as HubertForSequenceClassification."""
    from transformers import HubertConfig, HubertForSequenceClassification

    config = HubertConfig(
        hidden_size=6,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        conv_dim=(4,) * 7,
        classifier_proj_size=5,
        num_labels=3,
        num_conv_pos_embedding_groups=2,
        num_conv_pos_embeddings=4,
    )
    peer = HubertForSequenceClassification(config).eval()
    head = heads.Pool(6, 5)
    head.projector.load_state_dict(peer.projector.state_dict())
    wave = torch.randn(1, 3000)
    with torch.no_grad():
        frames = peer.hubert(wave).last_hidden_state
        ours = peer.classifier(head(frames, torch.tensor([frames.shape[1]])))
        torch.testing.assert_close(ours, peer(wave).logits)


def test_two_layers_has_one_relu_between_two_linear_layers() -> None:
    kinds = [type(layer) for layer in heads.two_layers(4, 3, 2)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear]
