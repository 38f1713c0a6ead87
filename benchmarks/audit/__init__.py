"""The audit of the leave-one-out figures: where could the future have leaked?"""
