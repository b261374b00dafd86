"""The queues that `outbox_kills` compares: their settings, and how mail is queued and sent.

Each is used as its documentation says, on Django's own SMTP backend; ours on
`django_integration.EmailBackend`. A queue whose broker is Redis has no table.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["SYSTEMS", "System", "run_command"]


@dataclass(frozen=True)
class System:
    """One queue. The functions run in a process in which Django is set up."""

    title: str
    packages: tuple[str, ...]
    settings: dict[str, Any]
    work: Callable[[], None]
    """Send what is due, and return."""
    expire: Callable[[], None]
    """Let the time pass after which the queue sees that a worker has died."""
    states: Callable[[list[str]], dict[str, str]]
    """What the queue says of messages with these subjects: ``"sent"``, ``"waiting"``,
    ``"unknown"`` or, where it says nothing any more, ``"gone"``."""
    uses_redis: bool = False
    prepare: Callable[[], None] = field(default=lambda: None)
    reset: Callable[[], None] | None = None
    """What a person has to do after a kill, before mail is sent again."""

    @property
    def versions(self) -> str:
        """The packages with their versions."""
        return ", ".join(f"{name} {version(name)}" for name in self.packages)


def run_command(system: System, command: str, *arguments: Any) -> Any:
    """Run one of the things that a queue does, in this process."""
    from django.core.mail import EmailMessage
    from django.core.management import call_command

    if command == "set up":
        if not system.uses_redis:
            call_command("migrate", verbosity=0)
        return system.prepare()
    if command == "queue":
        for subject in arguments[0]:
            EmailMessage(subject, "Thank you.\n" * 20, "shop@example.com", [_TO]).send()
        return None
    if command == "work":
        return system.work()
    if command == "expire":
        return system.expire()
    if command == "reset":
        return system.reset() if system.reset is not None else None
    return system.states(*arguments)


_TO = "ada@example.org"


# --- django_integration.outbox ----------------------------------------------------------------


def _work_outbox() -> None:
    from django.core.management import call_command

    call_command("outbox", "work", "--once", verbosity=0)


def _expire_outbox() -> None:
    from datetime import timedelta

    from django.db.models import F

    from django_integration.outbox.models import Message

    leased = Message.objects.filter(lease_until__isnull=False)
    leased.update(lease_until=F("lease_until") - timedelta(hours=1))
    Message.objects.filter(state="queued").update(due_at=F("created_at"))


def _states_outbox(subjects: list[str]) -> dict[str, str]:
    from django_integration.outbox.models import Message

    rows = dict(Message.objects.filter(subject__in=subjects).values_list("subject", "state"))
    words = {"accepted": "sent", "unknown": "unknown"}
    return {each: words.get(rows[each], "waiting") for each in subjects}


# --- django-post_office -----------------------------------------------------------------------


def _work_post_office() -> None:
    from django.core.management import call_command

    call_command("send_queued_mail", log_level=0, verbosity=0)


def _states_post_office(subjects: list[str]) -> dict[str, str]:
    from post_office.models import STATUS, Email

    rows = dict(Email.objects.filter(subject__in=subjects).values_list("subject", "status"))
    return {each: "sent" if rows[each] == STATUS.sent else "waiting" for each in subjects}


# --- django-mailer ----------------------------------------------------------------------------


def _work_mailer() -> None:
    from django.core.management import call_command

    call_command("send_mail", verbosity=0)
    call_command("retry_deferred", verbosity=0)


def _states_mailer(subjects: list[str]) -> dict[str, str]:
    from mailer.models import Message, MessageLog

    waiting = {row.subject for row in Message.objects.all()}
    sent = {row.subject for row in MessageLog.objects.all()}
    return {
        each: "waiting" if each in waiting else "sent" if each in sent else "gone"
        for each in subjects
    }


def _reset_mailer() -> None:
    """Delete the lock of the process that was killed, and what is still queued."""
    import shutil

    from mailer.models import Message

    for path in Path().glob("send_mail*"):
        path.unlink()
    for path in Path().glob("*.*-*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    Message.objects.all().delete()


# --- Celery -----------------------------------------------------------------------------------


def _celery() -> Any:
    """The application, with the task of `_TaskBackend`."""
    from celery import current_app
    from django.conf import settings

    app = current_app._get_current_object()
    app.config_from_object(settings, namespace="CELERY")
    return app


class _TaskBackend:
    """As an application does by itself: a task that calls ``send_mail``."""

    def __init__(self, **_: Any) -> None:
        pass

    def send_messages(self, messages: Any) -> int:
        for each in messages:
            _task().delay(each.subject, each.body, each.from_email, each.to)
        return len(messages)


def _task() -> Any:
    from celery import shared_task

    @shared_task(name="shop.send", ignore_result=True)  # type: ignore[untyped-decorator]
    def send(subject: str, body: str, sender: str, to: list[str]) -> None:
        from django.core.mail import get_connection, send_mail

        backend = "django.core.mail.backends.smtp.EmailBackend"
        send_mail(subject, body, sender, to, connection=get_connection(backend))

    return send


def _set_up_celery() -> None:
    _celery()
    _task()


def _set_up_djcelery() -> None:
    _celery()
    import djcelery_email.tasks  # noqa: F401 - as the worker's discovery does


def _work_celery() -> None:
    """A worker, which ends once the broker has nothing more for it."""
    import redis
    from celery import signals
    from celery.worker import state

    is_ready = threading.Event()
    signals.worker_ready.connect(lambda **_: is_ready.set(), weak=False)

    def end_when_idle() -> None:
        is_ready.wait()
        # Directly, so that the watching does not count as the worker's conversation.
        client: Any = redis.Redis.from_url(os.environ["REDIS_URL"])
        idle = 0
        while idle < 4:
            time.sleep(0.05)
            is_busy = state.reserved_requests or state.active_requests
            is_idle = not is_busy and not client.llen("celery") and not client.hlen("unacked")
            idle = idle + 1 if is_idle else 0
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=end_when_idle, daemon=True).start()
    options = "--concurrency=1 --without-gossip --without-mingle --without-heartbeat"
    _celery().worker_main(["worker", "--loglevel=critical", *options.split()])


def _expire_celery() -> None:
    """The visibility timeout of Redis is over."""
    import redis

    client: Any = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.delete("unacked_mutex")  # of the worker that was killed
    for tag in client.zrange("unacked_index", 0, -1):
        client.zadd("unacked_index", {tag: 1})


def _states_celery(subjects: list[str]) -> dict[str, str]:
    import base64

    import redis

    client: Any = redis.Redis.from_url(os.environ["REDIS_URL"])
    found = ""
    for raw in client.lrange("celery", 0, -1):
        found += base64.b64decode(json.loads(raw)["body"]).decode()
    for raw in client.hvals("unacked"):
        found += base64.b64decode(json.loads(raw)[0]["body"]).decode()
    return {each: "waiting" if each in found else "gone" for each in subjects}


_CELERY = {
    "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
    "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
}
_LATE = {
    "CELERY_TASK_ACKS_LATE": True,
    "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
}


def _on_celery(
    title: str, packages: tuple[str, ...], settings: dict[str, Any], **more: Any
) -> System:
    return System(
        title,
        (*packages, "celery"),
        {**_CELERY, **settings},
        _work_celery,
        _expire_celery,
        _states_celery,
        uses_redis=True,
        **more,
    )


_OF_DJCELERY = {
    "INSTALLED_APPS": ["djcelery_email"],
    "EMAIL_BACKEND": "djcelery_email.backends.CeleryEmailBackend",
}
_OF_TASK = {"EMAIL_BACKEND": "outbox_systems._TaskBackend"}
_OF_MAILER = {
    "INSTALLED_APPS": ["mailer"],
    "EMAIL_BACKEND": "mailer.backend.DbBackend",
}

SYSTEMS: dict[str, System] = {
    "mailbackends": System(
        "mailbackends, the outbox",
        (),
        {
            "INSTALLED_APPS": ["django_integration", "django_integration.outbox"],
            "EMAIL_BACKEND": "django_integration.outbox.EmailBackend",
        },
        _work_outbox,
        _expire_outbox,
        _states_outbox,
    ),
    "post_office": System(
        "django-post_office",
        ("django-post_office",),
        {"INSTALLED_APPS": ["post_office"], "EMAIL_BACKEND": "post_office.EmailBackend"},
        _work_post_office,
        lambda: None,
        _states_post_office,
    ),
    "mailer": System(
        "django-mailer",
        ("django-mailer",),
        _OF_MAILER,
        _work_mailer,
        lambda: None,
        _states_mailer,
        reset=_reset_mailer,
    ),
    "mailer_without_lock": System(
        "django-mailer, `MAILER_USE_FILE_LOCK = False`",
        ("django-mailer",),
        {**_OF_MAILER, "MAILER_USE_FILE_LOCK": False},
        _work_mailer,
        lambda: None,
        _states_mailer,
    ),
    "celery_email": _on_celery(
        "django-celery-email", ("django-celery-email",), _OF_DJCELERY, prepare=_set_up_djcelery
    ),
    "celery_email_late": _on_celery(
        "django-celery-email, `acks_late`",
        ("django-celery-email",),
        {**_OF_DJCELERY, **_LATE},
        prepare=_set_up_djcelery,
    ),
    "celery": _on_celery(
        "a Celery task that calls `send_mail`", (), _OF_TASK, prepare=_set_up_celery
    ),
    "celery_late": _on_celery(
        "the same task, `acks_late`", (), {**_OF_TASK, **_LATE}, prepare=_set_up_celery
    ),
}
