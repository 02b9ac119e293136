"""The actions on events: retry, edit, drop or try again the jobs of some events, or of all that match a filter."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from platform_relay.api.dependencies import Services
from platform_relay.console.bulk import EDITABLE, edit_field
from platform_relay.console.formatting import plural
from platform_relay.console.pages import Form, PageError, Visitor
from platform_relay.explain.event_list import SelectedJob

Action = Literal["retry", "edit", "drop", "wake"]


async def act_on_jobs(
    services: Services, visitor: Visitor, form: Form, action: Action, jobs: Sequence[SelectedJob]
) -> tuple[str, bool]:
    """Carry out the action on those of the jobs to which it applies. Returns the notice, and whether nothing changed."""
    actions = services.actions
    applies, none = APPLIES[action]
    ids = [job.id for job in jobs if applies(job)]
    if not ids:
        return none, True
    match action:
        case "retry":
            return f"{plural(await actions.retry(ids, visitor.name), 'job')} wait again.", False
        case "drop":
            dropped = await actions.drop(ids, visitor.name, form.why())
            return f"{plural(dropped, 'job')} dropped. They will not be sent.", False
        case "edit":
            if not form["field"]:
                raise PageError(422, "A field is needed", "Enter the name of the field to set, such as currency.")
            rejections = await edit_field(services, ids, form, visitor.name, form.why())
            edited = f"{plural(len(ids) - len(rejections), 'job')} edited and retried."
            return (
                (f"{edited} {plural(len(rejections), 'job')} could not be edited: {rejections[0]}.", True)
                if rejections
                else (edited, False)
            )
        case "wake":
            keys = {job.waits_for for job in jobs if job.waits_for}
            woken = sum([await actions.wake_held(key, visitor.name) for key in sorted(keys)])
            return (
                f"{plural(woken, 'job')} that waited for the same {'is' if woken == 1 else 'are'} tried again now.",
                False,
            )


APPLIES: Final[dict[Action, tuple[Callable[[SelectedJob], bool], str]]] = {
    "retry": (lambda job: job.dead, "None of the selected events has a dead-lettered job."),
    "edit": (
        lambda job: job.dead and job.kind in EDITABLE,
        "None of the selected events has a dead-lettered job that can be edited.",
    ),
    "drop": (lambda job: job.dead or job.waiting, "None of the selected events has a waiting or dead-lettered job."),
    "wake": (lambda job: job.waits_for is not None, "None of the selected events is held."),
}
"""To which jobs an action applies, and the notice when it applies to none."""
