"use strict";
// Looks again while a plan waits or runs, and stops by itself: the finished page does not load this script.
setTimeout(() => location.reload(), 1500);
