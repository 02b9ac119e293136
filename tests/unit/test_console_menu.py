"""The console's menu: what is on it, and what is in its groups."""

from platform_relay.console.formatting import codes
from platform_relay.console.pages import MENU, TRIAL_PAGE, MenuGroup, MenuLink, grouped_menu


def test_every_page_is_once_in_the_menu_and_the_top_is_short() -> None:
    menu = grouped_menu((*MENU, TRIAL_PAGE), "/console")
    links = [link for entry in menu for link in (entry.links if isinstance(entry, MenuGroup) else (entry,))]
    assert sorted(link.path for link in links) == sorted(path for path, _, _ in (*MENU, TRIAL_PAGE))
    assert len(menu) <= 6
    assert [entry.name for entry in menu if isinstance(entry, MenuGroup)] == ["Data", "Settings"]


def test_the_shown_page_is_marked_and_so_is_its_group() -> None:
    def current(shown: str) -> list[tuple[str, object]]:
        return [(entry.name, entry.current) for entry in grouped_menu(MENU, shown) if entry.current]

    assert current("/console") == [("Now", "page")]
    assert current("/console/coupon") == [("Coupons", "true")]
    assert current("/console/rules") == [("Settings", True)]
    assert current("/console/rule") == [("Settings", True)]
    assert current("/console/messages/1") == [("Data", True)]


def test_a_page_of_no_group_is_on_the_menu_itself() -> None:
    assert grouped_menu([("/console/other", "Other", ())], "/") == [MenuLink("/console/other", "Other", None)]


def test_what_is_between_backticks_is_code_and_everything_is_escaped() -> None:
    assert codes("Correct `a<b` & `c`.") == "Correct <code>a&lt;b</code> &amp; <code>c</code>."
    assert codes("one ` alone <i>") == "one ` alone &lt;i&gt;"
    assert codes("none") == "none"
