"""The tables of the suppression list."""

from typing import ClassVar

import django.utils.timezone
from django.db import migrations, models

import django_integration.fields


class Migration(migrations.Migration):
    initial: ClassVar[bool] = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="SoftBounce",
            fields=[
                (
                    "address",
                    django_integration.fields.ExactCharField(
                        max_length=320, primary_key=True, serialize=False
                    ),
                ),
                ("bounces", models.PositiveIntegerField(default=0)),
                ("since", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Suppression",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "address",
                    django_integration.fields.ExactCharField(
                        help_text="Stored in lower case.", max_length=320
                    ),
                ),
                (
                    "scope",
                    django_integration.fields.ExactCharField(
                        default="all",
                        help_text="The stream of mail, such as newsletter, or all.",
                        max_length=50,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("unsubscribed", "unsubscribed"),
                            ("complaint", "complaint"),
                            ("hard_bounce", "hard bounce"),
                            ("soft_bounce", "soft bounce"),
                            ("refused", "refused"),
                            ("manual", "manual"),
                        ],
                        default="manual",
                        max_length=20,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True, help_text="Who or what has added it.", max_length=500
                    ),
                ),
                ("detail", models.CharField(blank=True, max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True, help_text="When it ends; empty for never.", null=True
                    ),
                ),
            ],
            options={
                "verbose_name": "suppressed address",
                "verbose_name_plural": "suppressed addresses",
                "ordering": ("address", "scope", "reason"),
                "indexes": [models.Index(fields=["expires_at"], name="mb_suppression_expires")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("address", "scope", "reason"), name="mb_suppression_once"
                    )
                ],
            },
        ),
    ]
