"""A trial's own random state, and the process's beside it."""

import pytest
import torch

from trainables.randomness import RandomState


def test_two_states_taken_in_turns_draw_what_each_draws_alone() -> None:
    alone = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        alone.append(torch.rand(6))
    torch.manual_seed(3)
    outside = torch.rand(4)
    torch.manual_seed(3)
    states, drawn, between = (RandomState(1), RandomState(2)), ([], []), []
    for turn in range(6):
        state = turn % 2
        with states[state].in_place():
            drawn[state].append(torch.rand(2))
        if turn < 4:
            between.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn[0]), alone[0])
    assert torch.equal(torch.cat(drawn[1]), alone[1])
    assert torch.equal(torch.cat(between), outside), "the process's own generator knows of neither"


def test_an_error_within_leaves_the_process_as_it_was() -> None:
    state, before = RandomState(1), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), state.in_place():
        _fail_after_a_draw()
    assert torch.equal(torch.get_rng_state(), before)


def _fail_after_a_draw() -> None:
    torch.rand(1)
    raise ZeroDivisionError


def test_a_state_goes_on_where_a_checkpoint_left_it() -> None:
    state, again = RandomState(1), RandomState(2)
    with state.in_place():
        torch.rand(5)
    kept = state.tensors()
    with state.in_place():
        expected = torch.rand(3)
    again.take_up({**kept, "exp_avg/0": torch.zeros(1)})
    with again.in_place():
        assert torch.equal(torch.rand(3), expected)
