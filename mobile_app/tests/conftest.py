from hypothesis import settings

settings.register_profile("app", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("app")
