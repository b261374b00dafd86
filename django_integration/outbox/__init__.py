"""The outbox: mail in the application's own database, sent once by a worker.

``"django_integration.outbox"`` in ``INSTALLED_APPS`` brings the tables.

- ``models``, ``indexes``, ``migrations``: the tables
- ``store``, ``rows``, ``clock``, ``listening``: the statements on them
- ``configuration``, ``checks``: the settings
"""
