"""The suppression list: addresses that get no mail, in a table of the project.

``"django_integration.suppression"`` in ``INSTALLED_APPS`` and ``manage.py migrate`` are all that
it needs: each backend asks it before it sends. People who unsubscribe, bounces, complaints and
the events of django-anymail are added by themselves; `suppression_list` is for everything else.
"""

from django_integration.suppression.lists import suppression_list

__all__ = ["suppression_list"]
