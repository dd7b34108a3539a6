"""Direct inference: the baselines' networks, and the recurrence that some have."""

import pytest
import torch

from avf_core.configuration import build
from avf_core.errors import ConfigurationError
from avf_core.inference import direct

from .pairs import PAIRS, make, observations


def test_a_recurrent_posterior_is_that_of_the_written_out_lstm() -> None:
    """Embedding, LSTM and heads by their matrices; the recurrence hears every observation once."""
    filter = make("vrnn-recurrent", torch.float64)
    inference, xs = filter.inference, observations(filter, 4, 3)
    assert isinstance(inference, direct.Inference)
    belief, estimates = filter.initial(torch.arange(3)), []
    cell = inference.lstm.cell
    h, c = (p.expand(3, -1) for p in (inference.lstm.initial_hidden, inference.lstm.initial_cell))
    for x in xs:
        context, _ = filter.model.predict(belief.model)
        read = torch.cat([filter.model.features(x), context["hidden"], context["decoder"]], dim=-1)
        embedded = read @ inference.embed.weight.T + inference.embed.bias
        gates = embedded @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        i, f, g, o = gates.chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        belief, estimate = filter.step(belief, x)
        estimates.append(estimate)
        torch.testing.assert_close(estimate.posterior.mean, inference.net(h).mean)
        torch.testing.assert_close(belief.inference["hidden"], h)


def test_the_recurrence_stands_still_where_nothing_was_observed() -> None:
    """In such rows alone; a row with one dimension observed goes on."""
    filter = make("vrnn-recurrent")
    xs = observations(filter, 2, 3)
    belief, _ = filter.step(filter.initial(torch.arange(3)), xs[0])
    observed = torch.ones(3, 6, dtype=torch.bool)
    observed[1] = False
    observed[2, 1:] = False
    following, _ = filter.step(belief, xs[1], observed=observed)
    moved = (following.inference["hidden"] != belief.inference["hidden"]).any(-1)
    assert moved.tolist() == [True, False, True]


def test_only_a_recurrence_keeps_a_state_of_its_own() -> None:
    """Without one the belief holds nothing of inference."""
    filter = make("vrnn-recurrent")
    assert set(filter.initial(torch.arange(2)).inference) == {"hidden", "cell"}
    assert make("vrnn-direct").initial(torch.arange(2)).inference == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": ["g"]}, "the context has no g; it has"),
        ({"recurrent": -1}, "recurrent is -1"),
        ({"activation": "x"}, "expected one of"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    """The error lists what there is."""
    with pytest.raises(ConfigurationError, match=message):
        build({**PAIRS["vrnn-direct"], "inference": {"kind": "direct", **options}})
