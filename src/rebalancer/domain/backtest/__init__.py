"""Was it any good?"""
