//! What needs Chromium, a room of tests a file.

mod keyboard;
mod modal;
mod pages;
mod safety;
mod scenarios;
mod snippet;
mod trouble;
