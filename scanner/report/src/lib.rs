//! scanner/report
