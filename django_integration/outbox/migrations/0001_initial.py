"""The tables of the outbox."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import django_integration.fields
import django_integration.outbox.indexes


class Migration(migrations.Migration):
    initial: ClassVar[bool] = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("alias", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
                ("failures", models.PositiveIntegerField(default=0)),
                ("reason", models.TextField(blank=True)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("name", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "key",
                    django_integration.fields.ExactCharField(
                        blank=True,
                        help_text="A second message with this key is not queued.",
                        max_length=200,
                        null=True,
                        unique=True,
                    ),
                ),
                ("fingerprint", models.CharField(blank=True, max_length=64)),
                ("alias", models.CharField(max_length=100, verbose_name="mailer")),
                ("sender", models.CharField(blank=True, max_length=320)),
                ("subject", models.CharField(blank=True, max_length=500)),
                (
                    "message_id",
                    django_integration.fields.ExactCharField(
                        blank=True, max_length=500, verbose_name="Message-ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "queued"),
                            ("claimed", "claimed"),
                            ("begun", "begun"),
                            ("accepted", "accepted"),
                            ("refused", "refused"),
                            ("unknown", "unknown"),
                            ("cancelled", "cancelled"),
                            ("expired", "expired"),
                            ("suppressed", "suppressed"),
                            ("parked", "parked"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                (
                    "priority",
                    models.SmallIntegerField(
                        choices=[(0, "low"), (1, "normal"), (2, "high"), (3, "urgent")], default=1
                    ),
                ),
                (
                    "on_unknown",
                    models.CharField(
                        choices=[("hold", "hold"), ("resend", "resend"), ("ask", "ask")],
                        max_length=10,
                    ),
                ),
                (
                    "stream",
                    models.CharField(
                        blank=True,
                        help_text="Such as newsletter: see the suppression list.",
                        max_length=50,
                    ),
                ),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(help_text="When it may be claimed.")),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("lease_by", models.CharField(blank=True, max_length=200)),
                ("version", models.PositiveIntegerField(default=0, editable=False)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("lost_leases", models.PositiveIntegerField(default=0)),
                (
                    "mail_options",
                    models.TextField(blank=True, default="[]", help_text="A list in JSON."),
                ),
                (
                    "rcpt_options",
                    models.TextField(blank=True, default="[]", help_text="A list in JSON."),
                ),
                ("size", models.PositiveBigIntegerField(default=0, help_text="In bytes.")),
                ("content", models.BinaryField(help_text="Empty once it was erased.")),
                ("blobs", models.TextField(blank=True, default="[]", help_text="A list in JSON.")),
                ("erased_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "message",
                "permissions": (
                    ("read_content", "Can read the content of messages"),
                    ("manage_outbox", "Can resend, cancel and resolve messages"),
                ),
                "default_permissions": ("view",),
                "indexes": [
                    django_integration.outbox.indexes.PartialIndex(
                        fields=["alias", "priority", "due_at"],
                        name="mb_outbox_queued",
                        where=models.Q(("state", "queued")),
                    ),
                    django_integration.outbox.indexes.PartialIndex(
                        fields=["lease_until"],
                        name="mb_outbox_leased",
                        where=models.Q(("state__in", ["claimed", "begun"])),
                    ),
                    django_integration.outbox.indexes.PartialIndex(
                        fields=["expires_at"],
                        name="mb_outbox_expires",
                        where=models.Q(("state", "queued")),
                    ),
                    models.Index(fields=["state", "updated_at"], name="mb_outbox_state"),
                    models.Index(fields=["message_id"], name="mb_outbox_message_id"),
                    models.Index(fields=["created_at"], name="mb_outbox_created"),
                ],
            },
        ),
        migrations.CreateModel(
            name="LogEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(max_length=30)),
                ("text", models.TextField(blank=True)),
                ("by", models.CharField(blank=True, max_length=200)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log",
                        to="mailbackends_outbox.message",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Recipient",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("address", django_integration.fields.ExactCharField(max_length=320)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("accepted", "accepted"),
                            ("refused", "refused"),
                            ("unknown", "unknown"),
                            ("cancelled", "cancelled"),
                            ("expired", "expired"),
                            ("suppressed", "suppressed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("code", models.SmallIntegerField(blank=True, null=True)),
                ("enhanced", models.CharField(blank=True, max_length=15)),
                ("text", models.TextField(blank=True)),
                ("server", models.CharField(blank=True, max_length=300)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("at", models.DateTimeField(blank=True, null=True)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recipients",
                        to="mailbackends_outbox.message",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["address"], name="mb_outbox_address"),
                    models.Index(fields=["state", "at"], name="mb_outbox_rcpt_state"),
                ],
            },
        ),
    ]
