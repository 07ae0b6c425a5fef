"""Batches of cached frames: standardised, drawn per clip and epoch, weighted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corpora import manifest
from pipeline.embeddings.frames import Frames, Scale
from pipeline.embeddings.reader import opened
from pipeline.methods.networks.specaugment import Augmentation
from pipeline.methods.networks.spectrograms import Spectrograms
from pipeline.splits.task import Example, of_role
from stages import encoder, extract
from tests.speech import tone_clips

AUGMENTATION = Augmentation(speed=0.1, masks=1, mask_frames=4, mask_bands=4, mixup=0.4)
CPU = torch.device("cpu")


@pytest.fixture
def found(project: Path) -> list[Example]:
    made = tone_clips(20)
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in made])
    encoder.main("fbank")
    extract.main("fbank", "tones")
    return made


def test_a_clip_of_an_epoch_is_the_same_in_any_batch_and_order(found: list[Example]) -> None:
    train = of_role(found, "train")
    with opened("fbank", [e.clip for e in found]) as corpora:
        frames = Frames(corpora, "last")
        scale = Scale.of(frames, train, True)
        source = Spectrograms(frames, scale, np.ones(2, np.float32), train, AUGMENTATION, 7)
        one = next(source.batches([train], CPU, 3))
        other = [next(source.batches([[example]], CPU, 3)) for example in reversed(train)][::-1]
        for row, alone in enumerate(other):
            length = int(alone.lengths)
            assert int(one.lengths[row]) == length
            assert torch.equal(one.frames[row, :length], alone.frames[0])
            assert not one.frames[row, length:].any()
            assert torch.equal(one.targets[row], alone.targets[0])
        next_epoch = next(source.batches([train], CPU, 4))
        assert not torch.equal(next_epoch.lengths, one.lengths)
        assert not torch.equal(next_epoch.targets, one.targets)
        torch.testing.assert_close(one.targets.sum(1), torch.ones(len(train)))


def test_outside_training_frames_are_only_standardised(found: list[Example]) -> None:
    train = of_role(found, "train")
    with opened("fbank", [e.clip for e in found]) as corpora:
        frames = Frames(corpora, "last")
        scale = Scale.of(frames, train, True)
        source = Spectrograms(frames, scale, np.array([0.5, 2.0]), train, AUGMENTATION, 7)
        raw = np.concatenate([frames.read(example) for example in train])
        example = found[-1]
        batch = next(source.batches([[example]], CPU, 0))
        expected = (frames.read(example) - raw.mean(0)) / raw.std(0)
        np.testing.assert_allclose(batch.frames[0], expected, atol=1e-4)
        assert batch.targets[0].tolist() == ([0.5, 0.0], [0.0, 2.0])[example.label]
