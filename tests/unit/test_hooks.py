from platform_relay.stores.native import Hook
from platform_relay.sync.webhooks import Step, plan


def hook(number: int, topic: str, *, enabled: bool = True) -> Hook:
    return Hook(str(number), topic, "https://relay.example/v1/store-webhooks/woocommerce", enabled)


def test_only_what_is_missing_is_made() -> None:
    present = [hook(1, "a"), hook(2, "b", enabled=False)]
    assert plan(["a", "b", "c"], present) == [
        Step("keep", "a", present[0]),
        Step("enable", "b", present[1]),
        Step("create", "c"),
    ]


def test_a_second_webhook_of_a_topic_is_deleted_and_a_working_one_kept() -> None:
    present = [hook(1, "a", enabled=False), hook(2, "a")]
    assert plan(["a"], present) == [Step("keep", "a", present[1]), Step("delete", "a", present[0])]


def test_doing_it_again_changes_nothing() -> None:
    assert {step.act for step in plan(["a", "b"], [hook(1, "a"), hook(2, "b")])} == {"keep"}


def test_removal_takes_all_of_ours() -> None:
    assert [step.act for step in plan(["a"], [hook(1, "a"), hook(2, "z")], remove=True)] == ["delete", "delete"]
