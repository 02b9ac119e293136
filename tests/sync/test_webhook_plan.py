from platform_relay.stores.native import StoreWebhook
from platform_relay.sync.webhooks import WebhookChange, plan


def webhook(number: int, topic: str, *, enabled: bool = True) -> StoreWebhook:
    return StoreWebhook(str(number), topic, "https://relay.example/v1/store-webhooks/woocommerce", enabled)


def test_only_what_is_missing_is_made() -> None:
    present = [webhook(1, "a"), webhook(2, "b", enabled=False)]
    assert plan(["a", "b", "c"], present) == [
        WebhookChange("keep", "a", present[0]),
        WebhookChange("enable", "b", present[1]),
        WebhookChange("create", "c"),
    ]


def test_a_second_webhook_of_a_topic_is_deleted_and_a_working_one_kept() -> None:
    present = [webhook(1, "a", enabled=False), webhook(2, "a")]
    assert plan(["a"], present) == [WebhookChange("keep", "a", present[1]), WebhookChange("delete", "a", present[0])]


def test_doing_it_again_changes_nothing() -> None:
    assert {step.action for step in plan(["a", "b"], [webhook(1, "a"), webhook(2, "b")])} == {"keep"}


def test_removal_takes_all_of_ours() -> None:
    assert [step.action for step in plan(["a"], [webhook(1, "a"), webhook(2, "z")], remove=True)] == [
        "delete",
        "delete",
    ]
