$(call program,postern-report,report_main.c report_read.c report_now.c report_text.c report_html.c admin/postern/logline.c admin/sendmail/notice.c,store map imap mail conf ipc io os log base)
$(call unittest,test_report,test_report.c report_read.c report_text.c report_html.c admin/postern/logline.c,io os log base test)
$(call fuzzer,fuzz_report,fuzz_report.c report_read.c report_text.c report_html.c admin/postern/logline.c,io os log base)
