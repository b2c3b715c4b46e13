"""Japanese sentences of the report, in the words of a plant's quality department."""

from __future__ import annotations

from collections.abc import Mapping

JAPANESE: Mapping[str, str] = {
    "title": "外観検査 検収レポート",
    "subtitle": "{line}｜{date}｜ラベル付き画像 {n_images}枚・{n_classes}クラス｜モデル {kind}、エンコーダ {encoder}",
    "none": "–",
    "percent": "{value}%",
    "percent_interval": "{low}～{high}%",
    "points": "{value}ポイント",
    "points_interval": "{low}～{high}",
    "range": "{low}～{high}",
    "k_of_n": "{n}枚中{k}枚",
    "money": "{value} {currency}",
    "verdict_ready": "試験導入に進める水準です：未使用画像{n}枚での正解率は{value}（95%信頼区間 {interval}）。"
    "信頼区間の下限が要求値{least}を満たしています。",
    "verdict_too_few": "まだ判断できません：正解率{value}は要求値{least}を上回りますが、検収用画像{n}枚では"
    "{interval}（95%信頼区間）としか言えません。",
    "verdict_too_low": "まだ不十分です：未使用画像{n}枚での正解率は{value}（95%信頼区間 {interval}）で、"
    "要求値{least}を満たしません。",
    "verdict_worse": "まだ不十分です：同じ{n}枚で比べると、正解率{value}（95%信頼区間 {interval}）は学習前より"
    "低下しています。",
    "verdict_needed": "この正解率のままなら、検収用画像が約{n}枚（ラベル付き画像の総数で約{n_all}枚）あれば"
    "確認できます。",
    "verdict_harm": "不良品{defects}枚のうち見逃し{escapes}枚、良品{goods}枚のうち過検出{overkill}枚{money}。",
    "verdict_money": "。誤判定の費用は1,000個あたり{value}（{interval}）の見込み",
    "prior_zero_shot": "文章のみ",
    "prior_prototype": "平均画像のみ",
    "prior_mixed_prior": "文章と平均画像",
    "before": "学習前（{prior}）",
    "after": "学習後",
    "reviewed": "学習後＋目視確認",
    "tile_accuracy": "正解率",
    "tile_gain": "{prior}との差（ポイント）",
    "tile_escapes": "見逃し（1,000個あたり）",
    "tile_overkill": "過検出（1,000個あたり）",
    "tile_cost": "費用（1,000個あたり）",
    "tile_interval": "95%信頼区間 {interval}",
    "accuracy_head": "正解率",
    "accuracy_text": "検収用画像{n}枚のうち、正しいクラスに判定された割合です。横棒は95%信頼区間（ウィルソン法）で、"
    "この枚数から見て真の値がありうる範囲を示します。",
    "accuracy_gain": "同じ画像を学習前後で判定した結果、{only_after}枚が誤りから正解に、{only_before}枚が正解から誤りに"
    "変わりました。差は{gain}、95%信頼区間は{interval}です（マクネマー検定 p {p}）。",
    "accuracy_smallest": "{n}枚で示せる最小の差（検出力80%）は、判定の変化がすべて改善なら約{possible}、今回と同じ"
    "頻度で判定が変わるなら約{typical}です。これより小さいモデル間の差は、この枚数では偶然と区別できません。",
    "accuracy_smallest_none": "{n}枚では、モデル間の差を示すことはできません。",
    "accuracy_out_of_fold": "交差検証（学習用{n}枚）",
    "col_way": "",
    "col_accuracy": "正解率",
    "col_right": "正解数",
    "axis_accuracy": "正解率（%）",
    "matrix_head": "混同行列（学習前・学習後）",
    "matrix_text": "行が実際のクラス、列が判定結果です。対角線上が正解、それ以外の数字はすべて誤判定です。",
    "matrix_some": "全{n_all}クラスのうち、誤判定の多い{n}クラスを示します。",
    "matrix_truth": "実際のクラス",
    "matrix_called": "判定結果",
    "matrix_alt": "混同行列 {way}：{n}枚中{right}枚が対角線上",
    "matrix_pair": "取り違え",
    "matrix_arrow": "{truth} を {called} と判定",
    "matrix_clean": "取り違えはありませんでした。",
    "damage_head": "見逃し・過検出とその費用",
    "damage_text": "見逃し：不良品を良品と判定すること。過検出：良品を不良品と判定すること。種別誤り：良否は正しいが"
    "クラスが異なること。目視確認：ライン設定に従って人が確認すること。"
    "グラフの目盛りは項目ごとに異なります。",
    "damage_mix": "次のクラス構成比での1,000個あたりの見込みです：{mix}。",
    "damage_no_mix": "検収用画像と同じ構成比での1,000個あたりの見込みです。実際のラインでは不良品ははるかに少ないため、"
    "計画に使う前に実際の構成比を指定してください（decision.line_mix または --mix）。",
    "damage_costs": "指定された1個あたりの費用（{currency}）：見逃し {escape}、過検出 {overkill}、種別誤り {mix_up}、"
    "目視確認 {review}。",
    "damage_no_costs": "費用が指定されていないため、金額は表示していません（decision.costs または --costs）。",
    "damage_none_seen": "不良品{n}枚で見逃しが0件でも、見逃しがないとは言えません。95%の信頼度で、最大{high}の見逃しが"
    "ありえます。",
    "damage_unseen": "{names} の検収用画像がないため、上限値では最悪の場合を仮定しています。",
    "escapes": "見逃し",
    "overkill": "過検出",
    "mix_ups": "種別誤り",
    "reviews": "目視確認",
    "cost": "費用",
    "per_1000": "1,000個あたり",
    "escapes_of": "見逃し率（不良品中）",
    "overkill_of": "過検出率（良品中）",
    "classes_head": "クラス別の結果",
    "classes_text": "適合率：そのクラスと判定されたもののうち、実際にそうだった割合。再現率：そのクラスのもののうち、"
    "正しく判定された割合。しきい値は、交差検証で判定の{target}以上が正しくなる最も低い信頼度です。右の列は、その"
    "しきい値を検収用画像に当てはめた結果です。",
    "col_class": "クラス",
    "col_images": "画像数（学習用／検収用）",
    "col_precision": "適合率",
    "col_recall": "再現率",
    "col_threshold": "適合率{target}のしきい値",
    "col_kept": "しきい値以上の判定",
    "col_sealed_precision": "検収用画像での適合率",
    "good": "良品",
    "defect": "不良",
    "any_confidence": "不要",
    "never": "到達せず",
    "reliability_head": "信頼度は当てになるか（校正曲線）",
    "reliability_text": "信頼度90%の判定なら、10枚中9枚が正しいはずです（対角線上）。点が線より上なら控えめ、下なら"
    "過信しています。期待校正誤差（ECE）は{error}です。",
    "reliability_few": "1点あたりの枚数が少ないため、信頼区間は広くなります。",
    "axis_confidence": "信頼度（%）",
    "col_confidence": "信頼度",
    "col_n": "枚数",
    "ideal": "理想",
    "learning_head": "ラベルはあと何枚、どのクラスに必要か（学習曲線）",
    "learning_text": "ラベルの一部だけで学習をやり直し（{n_draws}回）、その回の学習に使わなかった画像で判定しました。"
    "検収用画像は使っていません。",
    "learning_more": "ラベルをあと約{n}枚増やすと、正解率は{gain}（90%区間 {interval}）上がる見込みです。",
    "learning_unknown": "ラベルを増やした効果は、この枚数からは判断できません。誤判定がすでに少ないか、減り方が"
    "安定していないためです。",
    "learning_impossible": "1クラス1枚では検証用に画像を残せないため、学習曲線は描けません。",
    "axis_labels": "ラベル付き画像数",
    "col_labels": "ラベル数",
    "interval_90": "90%区間",
    "extrapolated": "外挿",
    "need_text": "次の{n}枚をどのクラスに割り当てると効果的かを、交差検証での誤判定率の上限に比例して配分しました。"
    "誤判定が多いクラスと、画像が少なく確かでないクラスに多く割り当てられます。",
    "col_missed": "交差検証での誤判定",
    "col_at_worst": "上限（95%）",
    "col_mistaken_for": "主な誤判定先",
    "col_next": "次の{n}枚の配分",
    "texts_head": "文章だけでどこまで判定できるか",
    "texts_text": "文章だけの分類器（CODER）を学習用画像で評価しました。左は判定に使う近い文章の数K、右は文章の重みを"
    "均等に近づける強さです。標準誤差を超える改善があった設定だけを採用します。",
    "texts_k": "近い文章の数 K",
    "texts_ridge": "重みを均等に近づける強さ",
    "texts_all": "すべて",
    "texts_equal": "均等",
    "texts_chosen": "採用：K = {k}、重み：{ridge}。",
    "col_k": "K",
    "col_ridge": "強さ",
    "col_gain": "差 ± 標準誤差",
    "mistakes_head": "信頼度の高い誤判定",
    "mistakes_text": "検収用画像での誤判定{n_all}枚のうち、信頼度の高い順に{n}枚を示します。文章や"
    "学習用画像の右の数字は、誤った判定を後押しした量（＋）または妨げた量（−）です（ロジット単位）。",
    "mistakes_none": "検収用画像に誤判定はありませんでした。",
    "mistake_title": "{truth} を {called} と判定",
    "mistake_confidence": "信頼度 {confidence}（正しいクラスの信頼度 {truth}）",
    "mistake_margin": "{rival} との差は{margin}、学習前は{raw}。学習による変化は{removed}。",
    "mistake_texts": "文章",
    "mistake_support": "最も近い学習用画像",
    "mistake_likeness": "最も近い学習用画像（類似度で配分）",
    "mistake_picture": "画像 {name}",
    "method_head": "評価方法",
    "method_split": "元画像{n_images}枚のうち{n_sealed}枚を検収用として封印しました。各クラスの約30%（1枚以上、"
    "半数以下、50枚以下）を画像内容のハッシュ値で選ぶため、同じ画像は常に同じ側に入り、人が選ぶ余地はありません。検収用画像は"
    "学習・調整・温度・しきい値のいずれにも使わず、判定は一度だけです。",
    "method_fit": "モデルは残りの{n_fit}枚で学習しました（検証方法 {folds}、温度 {temperature}）。",
    "folds_4-fold": "4分割交差検証",
    "folds_leave-one-out": "1枚抜き交差検証",
    "folds_none": "なし（1クラス1枚）",
    "method_limits": "結果は、部品・照明・カメラが評価画像と同じ条件である限り有効です。このレポートを見て"
    "モデルを変更し、同じ画像で再評価すると、封印の効果は少しずつ失われます。新しい画像を加えれば回復します。",
    "method_again": "再作成のコマンド：{command}",
    "alt_intervals": "正解率と95%信頼区間：{summary}",
    "alt_damage": "1,000個あたりの{what}：{summary}",
    "alt_line": "{what}：{summary}",
    "list_join": "、",
    "sentence_join": "",
}
