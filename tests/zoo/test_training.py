"""How to train."""

import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.data import load, to_tensor
from camfit.tasks import classification
from camfit.zoo import Training


def test_small_data_gets_more_epochs() -> None:
    training = Training(epochs=10, learning_rate=0.1, batch_size=100, min_steps=1000)
    assert training.epochs_for(60_000) == 10
    assert training.epochs_for(10_000) == 10
    assert training.epochs_for(5_000) == 20
    assert training.epochs_for(4_950) == 20  # 50 batches, the last one short
    assert training.epochs_for(1) == 1000


def test_every_architecture_has_one() -> None:
    for name in zoo.names():
        training = zoo.training(name)
        assert training.epochs >= 1
        assert 0 < training.learning_rate < 1


@pytest.mark.parametrize("name", ["digits_cnn"])
def test_a_plain_loop_learns_the_digits(name: str) -> None:
    torch.manual_seed(0)
    data, training = load("digits"), zoo.training(name)
    model = zoo.build(name, data.input_shape, len(data.classes))
    x, y = to_tensor(data.train.images, data.normalisation), torch.from_numpy(data.train.labels)
    steps = 150
    optimizer = torch.optim.SGD(
        model.parameters(), training.learning_rate, training.momentum, weight_decay=training.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(x), (training.batch_size,))
        loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        logits = model(to_tensor(data.val.images, data.normalisation))
    assert classification().metric(logits, data.val.labels) >= 0.95
