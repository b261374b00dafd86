"""``manage.py suppression``."""
