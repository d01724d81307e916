"""The conformance suite finds bugs that are planted in the in-memory layer, one at a time."""

from collections.abc import Callable, Mapping
from typing import Final

import mutants
import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers import SUPPORTED, Capabilities, ChannelLayerSuite, Layers
from fast_channels_testing.layers import _model as model

SHORT: Final = 0.5
"""Seconds that a mutant may take for what it never does."""

Test = Callable[[ChannelLayerSuite, Layers], None]
Suite = ChannelLayerSuite


class InMemorySuite(ChannelLayerSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED, general_capacity=SUPPORTED, general_members=SUPPORTED
    )
    # The model stops at the first failure; which example that is, a release of Hypothesis decides.
    model_examples = 300


KILLED_BY: Final[Mapping[type[InMemoryChannelLayer], tuple[Test, ...]]] = {
    mutants.LosesOnCancel: (
        Suite.test_a_receive_cancelled_in_any_round_of_the_loop_loses_nothing,
        Suite.test_a_general_receive_cancelled_in_any_round_of_the_loop_loses_nothing,
        Suite.test_a_receiver_that_gives_up_often_hears_all_in_order,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.Duplicates: (
        Suite.test_a_channel_gets_what_is_sent_to_it_in_order,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.Reorders: (
        Suite.test_a_channel_gets_what_is_sent_to_it_in_order,
        Suite.test_every_member_hears_every_sender_in_order,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.LeaksOnDiscard: (
        Suite.test_nothing_reaches_a_channel_that_was_removed,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.ForgetsTheGroupOnDiscard: (
        Suite.test_nothing_reaches_a_channel_that_was_removed,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.DeliversToAll: (
        Suite.test_several_receivers_of_a_general_channel_take_turns,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.IgnoresCapacity: (
        Suite.test_a_full_channel_refuses_messages,
        Suite.test_a_full_general_channel_refuses_messages,
        Suite.test_the_capacity_of_a_channel_is_known_by_its_name,
        Suite.test_a_hundred_messages_wait_unless_told_otherwise,
        Suite.test_a_full_member_misses_messages_and_the_others_do_not,
    ),
    mutants.IgnoresExpiry: (
        Suite.test_a_message_past_its_expiry_is_not_delivered,
        Suite.test_a_message_past_its_expiry_leaves_a_general_channel,
        Suite.test_a_group_message_past_its_expiry_is_not_delivered,
        Suite.test_expired_messages_make_room,
    ),
    mutants.Aliases: (
        Suite.test_what_a_receiver_changes_nobody_else_sees,
        Suite.test_a_message_sent_twice_arrives_as_two,
    ),
    mutants.MutatesTheSendersDict: (Suite.test_the_senders_message_stays_as_it_was,),
    mutants.LateBarrier: (
        Suite.test_a_message_sent_after_a_channel_was_added_reaches_it,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.BlocksOnAFullMember: (Suite.test_a_full_member_misses_messages_and_the_others_do_not,),
    mutants.StopsAtAFullMember: (Suite.test_a_full_member_misses_messages_and_the_others_do_not,),
    mutants.LeaksTasksOnClose: (
        Suite.test_closing_closes_the_channels,
        Suite.test_a_channel_gets_what_is_sent_to_it_in_order,
    ),
    mutants.ClosesOnce: (Suite.test_closing_twice_or_in_several_tasks_is_closing_once,),
    mutants.StaysClosed: (
        Suite.test_a_layer_that_was_closed_can_be_used_again,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.HangsAfterClose: (
        Suite.test_a_channel_that_is_closed_cannot_be_received_from,
        Suite.test_who_waits_in_a_channel_is_told_that_it_closed,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.RepeatsNames: (
        Suite.test_no_two_channels_have_the_same_name,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.TurnsBytesIntoText: (Suite.test_every_value_arrives_at_a_channel_as_it_was_sent,),
    mutants.RoundsIntegers: (Suite.test_every_value_arrives_at_a_channel_as_it_was_sent,),
    mutants.CountsAdds: (
        Suite.test_adding_twice_is_adding_once,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.NeedsAMember: (
        Suite.test_a_stranger_may_be_removed,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.IgnoresCase: (Suite.test_names_that_differ_name_different_groups,),
    mutants.TakesAnyName: (Suite.test_every_method_refuses_a_bad_group_name,),
    mutants.KeepsTheClosed: (
        Suite.test_a_channel_that_is_closed_cannot_be_received_from,
        Suite.test_every_receiver_of_a_channel_learns_that_it_closes,
        Suite.test_any_sequence_of_calls_agrees_with_the_model,
    ),
    mutants.RemembersTheClosed: (Suite.test_a_thousand_who_came_and_went_are_forgotten,),
    mutants.FansOutInTasks: (Suite.test_members_that_come_and_go_at_once_are_a_set,),
}

PAIRS: Final = [(mutant, test) for mutant, tests in KILLED_BY.items() for test in tests]


@pytest.fixture(autouse=True)
def no_shortening(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the model need not be explained here."""
    monkeypatch.setattr(model, "TIME_TO_SHORTEN", 0)


@pytest.mark.parametrize(
    ("mutant", "test"),
    PAIRS,
    ids=[f"{mutant.__name__}-{test.__name__.removeprefix('test_')}" for mutant, test in PAIRS],
)
def test_a_mutant_is_found(mutant: type[InMemoryChannelLayer], test: Test) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever its author is told
        test(InMemorySuite(), Layers(mutant, None, SHORT))
    broken = AttributeError | NameError | TypeError
    assert not isinstance(caught.value, broken), "the mutant has another bug than the planted one"


@pytest.mark.parametrize("test", {test: None for _, test in PAIRS}, ids=lambda test: test.__name__)
def test_the_layer_itself_passes(test: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemorySuite, "model_examples", 20)
    test(InMemorySuite(), Layers(InMemoryChannelLayer, None, InMemorySuite.deadline))


def test_every_mutant_is_tried() -> None:
    planted = {
        value
        for name, value in vars(mutants).items()
        if isinstance(value, type) and value.__module__ == mutants.__name__ and name[0] != "_"
    }
    assert planted == KILLED_BY.keys()
