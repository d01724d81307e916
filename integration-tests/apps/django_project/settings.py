"""As little as a project needs."""

import json
import os

SECRET_KEY = "not one"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["channels", "django_project"]
ROOT_URLCONF = "django_project.urls"
ASGI_APPLICATION = "django_project.asgi.application"
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ["LAYER"],
        "CONFIG": json.loads(os.environ["LAYER_CONFIG"]),
    },
}
