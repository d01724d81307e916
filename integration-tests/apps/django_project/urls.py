from django.urls import path

from django_project import views

urlpatterns = [
    path("announce/<group>/<text>", views.announce),
    path("announce-async/<group>/<text>", views.announce_async),
    path("tell/<channel>/<text>", views.tell),
    path("collect", views.collect),
]
