"""The answer for a single image; is it the expected card?"""
