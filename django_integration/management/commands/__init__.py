"""``manage.py mail_doctor``."""
