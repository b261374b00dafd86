"""``manage.py serve``."""
