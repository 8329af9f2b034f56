"""What the routes decide on the rows of a block.

facts       what conditions look at, in classes of values
matches     which route takes each row, and which might
decisions   what comes of it: shares and splits drawn, one decision a row
"""
