import pytest

from core.runtime.share import MOST_OWED_S, BackgroundShare

TILE_S = 0.1


def work_for_pictures(account, seconds, *, is_background_waiting=True):
    for _ in range(round(seconds / TILE_S)):
        account.add_picture(TILE_S, is_background_waiting=is_background_waiting)


def test_a_task_is_due_when_its_time_is_earned():
    account = BackgroundShare(0.2)
    assert not account.is_due(TILE_S)
    work_for_pictures(account, 0.3)
    assert not account.is_due(TILE_S)
    work_for_pictures(account, 0.2)
    assert account.is_due(TILE_S)
    account.add_background(TILE_S, was_due=True)
    assert not account.is_due(TILE_S)


def test_with_a_share_of_0_no_task_is_due():
    account = BackgroundShare(0)
    work_for_pictures(account, 1000)
    assert not account.is_due(TILE_S)


@pytest.mark.parametrize("is_waiting", [False, True])
def test_only_a_waiting_task_earns_more_than_the_limit(is_waiting):
    account, due = BackgroundShare(0.5), 0
    work_for_pictures(account, 100, is_background_waiting=is_waiting)
    while account.is_due(TILE_S):
        account.add_background(TILE_S, was_due=True)
        due += 1
    assert due == pytest.approx((100 if is_waiting else MOST_OWED_S) / TILE_S, abs=1)


def test_a_pause_of_the_background_is_made_up_for():
    account = BackgroundShare(0.2)
    work_for_pictures(account, 1.0, is_background_waiting=False)
    assert account.is_due(0.2)


def test_time_without_pictures_pays_and_leaves_no_debt():
    account = BackgroundShare(0.5)
    work_for_pictures(account, 0.4)
    account.add_background(100, was_due=False)
    assert not account.is_due(TILE_S)
    work_for_pictures(account, 0.2)
    assert account.is_due(TILE_S)


def test_a_long_task_is_paid_for_afterwards():
    account = BackgroundShare(0.5)
    work_for_pictures(account, 0.6)
    assert account.is_due(10)
    account.add_background(10, was_due=True)
    work_for_pictures(account, 9)
    assert not account.is_due(TILE_S)
    work_for_pictures(account, 1)
    assert account.is_due(TILE_S)
